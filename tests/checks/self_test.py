"""Shows that each check finds what it is for: runs it on a tree and on a library with that defect.

    self_test.py COMPILER
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import library
import sources


class Sources(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()
        subprocess.run(["git", "init", "-q", self.root], check=True)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def test_layers(self):
        self.write("alloc/neap.h", "")
        self.write("alloc/heap.h", "")
        self.write("engine/sort.cc", '#include "alloc/neap.h"\n')
        self.write("interpose/malloc.cc", '#include "alloc/heap.h"\n')
        self.assertEqual(list(sources.check_layers(self.root)), [])
        self.write("engine/join.cc", '#include "alloc/heap.h"\n')
        self.write("alloc/span.cc", '#include "../interpose/malloc.h"\n#include "interpose/malloc.h"\n')
        self.write("interpose/malloc.h", "")
        self.write("other/x.cc", "")
        found = "\n".join(sources.check_layers(self.root))
        for name in ("engine/join.cc", "alloc/span.cc", "other/x.cc"):
            self.assertIn(name, found)

    def test_cycle(self):
        self.write("alloc/a.h", '#include "b.h"\n')
        self.write("alloc/b.h", '#include "alloc/a.h"\n')
        self.assertIn("include cycle", "\n".join(sources.check_layers(self.root)))

    def test_length(self):
        self.write("alloc/a.cc", "\n" * sources.MOST_LINES)
        self.assertEqual(list(sources.check_length(self.root)), [])
        self.write("tools/demo", "\n" * (sources.MOST_LINES + 1))
        self.assertEqual(len(list(sources.check_length(self.root))), 1)

    def test_format(self):
        self.write(".clang-format", "BasedOnStyle: Google\n")
        self.write("alloc/a.cc", "int x;\n")
        self.assertEqual(list(sources.check_format(self.root)), [])
        self.write("alloc/b.cc", "int   y ;\n")
        self.assertEqual(len(list(sources.check_format(self.root))), 1)

    def test_compiled(self):
        self.write("alloc/a.cc", "")
        commands = [{"directory": str(self.root / "build"), "file": str(self.root / "alloc/a.cc")}]
        self.write("build/compile_commands.json", json.dumps(commands))
        self.assertEqual(list(sources.check_compiled(self.root, self.root / "build")), [])
        self.write("tests/a_test.cc", "")
        found = ["tests/a_test.cc: in no target"]
        self.assertEqual(list(sources.check_compiled(self.root, self.root / "build")), found)
        self.write("tests/CMakeLists.txt", "# a_test.cc\nadd_executable(b_test aa_test.cc a_test.cc.in)\n")
        self.assertEqual(list(sources.check_compiled(self.root, self.root / "build")), found)
        self.write("tests/CMakeLists.txt", "if(NEVER_HERE)\n  target_sources(b_test PRIVATE a_test.cc)\nendif()\n")
        self.assertEqual(list(sources.check_compiled(self.root, self.root / "build")), [])


class Library(unittest.TestCase):
    compiler = "g++"
    good = 'extern "C" void* malloc(unsigned long) { return nullptr; }\n'

    def build(self, text, *flags):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        source, target = pathlib.Path(folder.name, "a.cc"), pathlib.Path(folder.name, "a.so")
        source.write_text(text)
        subprocess.run([self.compiler, "-std=c++20", "-O1", "-fPIC", "-fno-builtin", "-o", target, source, *flags], check=True)
        header = pathlib.Path(folder.name, "neap.h")
        header.write_text("NEAP_EXPORT int neap_stats(int*);\n")
        return target, header

    def shared(self, text, *flags):
        return self.build(text, "-shared", "-nodefaultlibs", "-lc", *flags)

    def test_exports(self):
        found = "\n".join(library.check_exports(*self.shared(self.good + "int extra;")))
        self.assertIn("should not be: extra", found)
        self.assertIn("not exported: calloc", found)
        self.assertIn("not exported: neap_stats", found)
        self.assertIn("not exported: _ZdaPvmSt11align_val_t", found)
        self.assertNotIn("not exported: malloc\n", found)

    def test_needed(self):
        good = ("-Wl,-z,now", "-Wl,-z,nodelete")
        self.assertEqual(list(library.check_needed(*self.shared(self.good, *good))), [])
        bad = self.shared(self.good, "-Wl,--no-as-needed", "-lm", "-Wl,-rpath,/tmp", "-Wl,-z,now")
        self.assertEqual(sorted(library.check_needed(*bad)), ["has RUNPATH", "lacks -z nodelete", "needs libm.so.6"])

    def test_undefined(self):
        self.assertEqual(list(library.check_undefined(*self.shared(self.good))), [])
        text = "int* f() { return new int; }\nextern int other;\nint g() { return other; }\n"
        found = "\n".join(library.check_undefined(*self.shared(text)))
        self.assertIn("libstdc++ for _Znwm", found)
        self.assertIn("not of libc: other", found)

    def test_tls(self):
        text = "thread_local char area[%d];\nchar* f() { return area; }\n"
        model = "-ftls-model=initial-exec"
        self.assertEqual(list(library.check_tls(*self.shared(text % 255, model))), [])
        self.assertEqual(len(list(library.check_tls(*self.shared(text % 256, model)))), 1)
        self.assertIn("__tls_get_addr", "\n".join(library.check_tls(*self.shared(text % 8))))

    def test_unwinder(self):
        self.assertEqual(list(library.check_unwinder(*self.shared(self.good))), [])
        text = 'extern "C" __attribute__((visibility("hidden"), used)) void _Unwind_Resume() {}\n'
        self.assertEqual(len(list(library.check_unwinder(*self.shared(text)))), 1)

    def test_system_calls(self):
        item, _ = self.build(self.good, "-c")
        self.assertEqual(list(library.check_system_calls(item)), [])
        text = "#include <sys/mman.h>\nint f(void* p) { return munmap(p, 1) + munlock(p, 1); }\n"
        item, _ = self.build(text, "-c")
        self.assertEqual(len(list(library.check_system_calls(item))), 2)
        text = 'void f() { __asm__ volatile("syscall"); }\n' if b"x86_64" in self.machine() else 'void f() { __asm__("svc #0"); }\n'
        item, _ = self.build(text, "-c")
        self.assertEqual(len(list(library.check_system_calls(item))), 1)

    def machine(self):
        return subprocess.run([self.compiler, "-dumpmachine"], check=True, capture_output=True).stdout


if __name__ == "__main__":
    Library.compiler = sys.argv.pop()
    unittest.main()
