"""neap doctor: programs that neap cannot reach, made here one by one, and the machine's own traps."""
import json
import os
import random
import resource
import subprocess
import sys
import unittest

from support import HOLD, NEAP, CommandTest, library, neap, needs_limit, needs_root

MAIN = "int main(void) { return 0; }\n"


class DoctorTest(CommandTest):
    def build(self, name, source, *flags):
        path = self.folder / name
        subprocess.run(["cc", "-x", "c", "-", "-o", path, *flags], input=source, text=True, check=True)
        return path

    def findings(self, *target, code=None, **options):
        result = neap("doctor", "--json", *target, **options)
        self.assertEqual(result.stderr, "")
        told = json.loads(result.stdout)
        worst = told["worst"]
        self.assertEqual(result.returncode, 1 if worst in ("part", "block") else 0)
        if code is not None:
            self.assertEqual(result.returncode, code, told)
        return told["findings"]

    def advice(self, subject, *target):
        """What to do about the one finding on that subject."""
        [finding] = [finding for finding in self.findings(*target) if finding["subject"] == subject]
        return finding["advice"]

    def expect(self, severity, subject, words, *target, **options):
        matching = [finding for finding in self.findings(*target, **options)
                    if finding["severity"] == severity and finding["subject"] == subject]
        self.assertTrue(any(words in finding["what"] for finding in matching), (words, matching))
        if severity in ("part", "block"):
            self.assertTrue(all(finding["advice"] for finding in matching), matching)


class Programs(DoctorTest):
    def test_an_ordinary_program(self):
        for program in (self.build("plain", MAIN), NEAP):
            self.expect("fine", "program", "loaded by", program, code=0)

    def test_a_static_program(self):
        for flag in ("-static", "-static-pie"):
            self.expect("block", "static", "linked statically", self.build("static", MAIN, flag))

    def test_a_program_with_a_malloc_of_its_own(self):
        source = MAIN + "void* malloc(unsigned long n) { static char b[1 << 20]; return b + n % 64; }\n"
        self.expect("block", "allocator", "brings a malloc of its own", self.build("own", source, "-rdynamic"))

    def test_allocators_inside_by_their_symbols(self):
        for family, symbol in (("jemalloc", "duckdb_je_malloc"), ("jemalloc", "_rjem_mallctlnametomib"),
                               ("mimalloc", "mi_heap_malloc"), ("tcmalloc", "tc_malloc"), ("rpmalloc", "rpmalloc"),
                               ("snmalloc", "_ZN8snmalloc5alloc"), ("snmalloc", "sn_rust_alloc")):
            source = MAIN + f"__attribute__((used)) static void {symbol}(void) {{}}\n"
            self.expect("part", "allocator", f"has {family} inside ({symbol})", self.build("inside", source))

    def test_an_allocator_that_is_only_called_is_not_inside(self):
        source = "__attribute__((weak)) int mallctl(void); int main(void) { return mallctl ? mallctl() : 0; }\n"
        self.expect("fine", "program", "loaded by", self.build("caller", source), code=0)

    def test_a_stripped_allocator_by_its_messages(self):
        source = 'const char* text(void) { return "<jemalloc>: bad thing"; }\n'
        path = self.build("libstripped.so", source, "-shared", "-fPIC", "-s")
        self.expect("part", "allocator", "has jemalloc inside", path)

    def test_what_makes_an_allocator_give_back(self):
        purge = '("arena.4096.purge", NULL, NULL, NULL, 0)'
        for symbol, advice in (
                ("mallctl", f"set MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0, or call mallctl{purge}"),
                ("_rjem_mallctl", f"set _RJEM_MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0, or call _rjem_mallctl{purge}"),
                ("duckdb_je_mallctl", "set DUCKDB_JE_MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0, or call duckdb_je_"),
                ("duckdb_je_malloc", "set <PREFIX>MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0;"),
                ("mi_collect", "set MIMALLOC_PURGE_DELAY=0, or call mi_collect(true)"),
                ("arrow_mi_collect", "set MIMALLOC_PURGE_DELAY=0, or call arrow_mi_collect(true)"),
                ("MallocExtension_ReleaseFreeMemory", "set TCMALLOC_AGGRESSIVE_DECOMMIT=1 (which that of gperftools reads), "
                                                      "or call MallocExtension_ReleaseFreeMemory()"),
                ("_ZN5scudo5alloc", "set SCUDO_OPTIONS=release_to_os_interval_ms=0;"),
                ("scalable_allocation_command", "call scalable_allocation_command(0, NULL);"),
                ("sn_rust_alloc", "build it without snmalloc, which nothing makes give back;")):
            path = self.build("libinside.so", f"void {symbol}(void) {{}}\n", "-shared", "-fPIC")
            self.assertTrue(self.advice("allocator", path).startswith(advice), self.advice("allocator", path))

    def test_what_is_not_exported_cannot_be_called(self):
        source = MAIN + "__attribute__((used)) static void _rjem_mallctl(void) {}\n"
        self.assertEqual(self.advice("allocator", self.build("inside", source)),
                         "set _RJEM_MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0; what it holds shows as foreign")

    def test_a_stripped_jemalloc_tells_its_variable_by_its_text(self):
        source = ('const char* texts[] = {"<jemalloc>: bad thing", "no MALLOC_CONF here", "x_JE_MALLOC_CONF", '
                  '"JE_ARROW_MALLOC_CONF", "MALLOC_CONF: no"};\n')
        path = self.build("libstripped.so", source, "-shared", "-fPIC", "-s")
        self.assertTrue(self.advice("allocator", path).startswith("set JE_ARROW_MALLOC_CONF=dirty"))

    def test_an_allocator_in_a_library_that_the_program_needs(self):
        self.build("libinside.so", "void mi_heap_malloc(void) {}\n", "-shared", "-fPIC")
        program = self.build("needs", "void mi_heap_malloc(void); int main(void) { mi_heap_malloc(); }\n",
                             f"-L{self.folder}", "-linside", "-Wl,-rpath,$ORIGIN")
        self.expect("part", "allocator", "libinside.so has mimalloc inside", program)

    def test_arrow_is_told_how_to_use_malloc_and_believed(self):
        path = self.build("libarrow.so.2600", "void mi_heap_malloc(void) {}\n", "-shared", "-fPIC")
        self.expect("part", "allocator", "has mimalloc inside", path)
        self.expect("note", "allocator", "unused with ARROW_DEFAULT_MEMORY_POOL=system", path, code=0,
                    env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"})

    def test_musl(self):
        program = self.build("musl", MAIN, "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
        self.expect("block", "libc", "uses musl", program)
        self.build("libc.musl-x86_64.so.1", "", "-shared", "-nostdlib", "-Wl,-soname=libc.musl-x86_64.so.1")
        library = self.build("libmusl.so", "", "-shared", "-nostdlib", "-Wl,--no-as-needed", f"-L{self.folder}",
                             "-l:libc.musl-x86_64.so.1")
        self.expect("block", "libc", "uses musl (libc.musl-x86_64.so.1)", library)

    def test_another_architecture(self):
        content = bytearray(self.build("foreign", MAIN).read_bytes())
        content[18:20] = (183 if content[18] != 183 else 62).to_bytes(2, "little")
        path = self.folder / "foreign"
        path.write_bytes(content)
        self.expect("block", "architecture", "libneap.so is", path)

    def test_a_script_is_its_interpreter(self):
        static = self.build("static", MAIN, "-static")
        script = self.folder / "script"
        for line in (f"#!{static}", f"#!/usr/bin/env {static}", f"#!/usr/bin/env -S {static} -x"):
            script.write_text(line + "\n")
            script.chmod(0o755)
            self.expect("block", "static", str(static), script)

    @needs_root
    def test_setuid(self):
        program = self.build("setuid", MAIN)
        os.chown(program, 65534, -1)
        program.chmod(0o4755)
        self.expect("block", "setuid", "the loader ignores LD_PRELOAD", program)

    def test_commands_are_found_as_the_shell_finds_them(self):
        self.build("mine", MAIN)
        self.expect("fine", "program", str(self.folder / "mine"), "mine",
                    env={**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"})
        for target in ("no-such-command", "/etc/passwd", self.folder / "missing", "999999999"):
            result = neap("doctor", target)
            self.assertEqual(result.returncode, 3, target)
            self.one_line(result.stderr, "neap doctor: ")

    def test_broken_files_end_in_words(self):
        whole = self.build("whole", MAIN).read_bytes()
        path = self.folder / "broken"
        generator = random.Random(3)
        for _ in range(60):
            content = bytearray(whole[:generator.choice((20, 63, 64, 500, 4096, len(whole)))])
            for _ in range(generator.randrange(1, 40)):
                content[generator.randrange(min(len(content), 1200))] = generator.randrange(256)
            path.write_bytes(content)
            result = neap("doctor", path)
            self.assertIn(result.returncode, (0, 1, 3), content.hex()[:400])


class Processes(DoctorTest):
    def test_one_on_neap(self):
        program = self.preloaded()
        self.expect("fine", "on neap", "runs on neap", program.pid, code=0)

    def test_one_that_is_not(self):
        program = self.program()
        self.expect("block", "on neap", "was started without neap", program.pid)

    def test_one_whose_preload_came_to_nothing(self):
        static = self.build("static", '#include <unistd.h>\nint main(void) { write(1, "pid 0\\n", 6); pause(); }\n',
                            "-static")
        process = subprocess.Popen([static], env={"LD_PRELOAD": library()}, stdout=subprocess.PIPE)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        process.stdout.readline()
        self.expect("block", "static", "linked statically", process.pid)

    def test_libraries_that_were_loaded_late_are_seen(self):
        inside = self.build("libinside.so", "void mi_heap_malloc(void) {}\n", "-shared", "-fPIC")
        source = ("#include <dlfcn.h>\n#include <stdio.h>\n#include <unistd.h>\nint main(int c, char** v) {"
                  "if (!dlopen(v[c - 1], RTLD_NOW)) return 1; puts(\"pid 0\"); fflush(stdout); pause(); }\n")
        process = subprocess.Popen([self.build("loads", source), inside], stdout=subprocess.PIPE)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        process.stdout.readline()
        self.expect("part", "allocator", "libinside.so has mimalloc inside", process.pid)


    def test_the_extension_modules_of_a_python_are_seen(self):
        module = self.build("inside.abi3.so", "void _rjem_mallctl(void) {}\n", "-shared", "-fPIC")
        source = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); print(flush=True); sys.stdin.read()"
        process = subprocess.Popen([sys.executable, "-c", source, module], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        process.stdout.readline()
        self.expect("part", "allocator", "inside.abi3.so has jemalloc inside (_rjem_mallctl)", process.pid)


class Machine(DoctorTest):
    def test_every_trap_is_looked_at(self):
        subjects = {finding["subject"] for finding in self.findings()}
        self.assertLessEqual({"library", "static TLS", "statistics", "cgroup", "huge pages", "rseq", "ulimit -v",
                              "max_map_count", "overcommit"}, subjects)

    def test_a_missing_and_a_broken_library(self):
        broken = self.folder / "libneap.so"
        broken.write_bytes(b"no library")
        for path, words in ((self.folder / "none.so", "was not found"), (broken, "does not load")):
            self.expect("block", "library", words, env={**os.environ, "NEAP_LIBRARY": str(path)})

    def test_rseq_turned_off(self):
        self.expect("note", "rseq", "try-locks", env={**os.environ, "GLIBC_TUNABLES": "glibc.pthread.rseq=0"})

    def test_static_tls(self):
        self.expect("fine", "static TLS", "of 512 B that are kept for libraries opened late")
        self.expect("note", "static TLS", "a plugin that is linked with it may not load",
                    env={**os.environ, "GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=8:glibc.malloc.check=0"})

    def test_a_bounded_address_space(self):
        bound = 1 << 30
        self.expect("note", "ulimit -v", "1.0 GiB",
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (bound, bound)))

    @needs_limit
    def test_the_limit_that_binds(self):
        result = neap("run", "--limit", "128M", "--", NEAP, "doctor", "--json")
        limits = [finding["what"] for finding in json.loads(result.stdout)["findings"] if finding["subject"] == "cgroup"]
        self.assertTrue(any("limit 128 MiB at " in what and what.endswith("this one binds") for what in limits), limits)

    def test_words_end_with_a_verdict(self):
        self.assertEqual(neap("doctor", HOLD).stdout.splitlines()[-1], "neap works")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + ["-v"])
