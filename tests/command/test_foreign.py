"""NEAP_FOREIGN=1: another allocator inside the process is told to give back when the container's limit is near."""
import os
import pathlib
import re
import sys
import unittest

from support import MIB, NEAP, CommandTest, eventually, neap, needs_limit

OTHER = os.environ["NEAP_TEST_ALLOCATOR"]
JEMALLOC = pathlib.Path(f"/usr/lib/{os.uname().machine}-linux-gnu/libjemalloc.so.2")  # Debian's libjemalloc2


@needs_limit
class Foreign(CommandTest):
    def hoards(self, library, environment):
        """A program in 300 MiB that live memory has grown until they are short; the other allocator holds 180 free."""
        program = self.program(NEAP, "run", "--limit", "300M", "--", environment={**os.environ, **environment})
        program.tell("live 40")
        program.tell(f"load {library}")
        program.tell("hoard 180")
        program.tell("live 50")
        return program

    def check_is_told(self, library, **environment):
        program = self.hoards(library, {"NEAP_FOREIGN": "1", **environment})
        reading = eventually(lambda: (r := program.stat())["foreign_purged"] > 150 * MIB and r, "it has given back")
        self.assertGreaterEqual(reading["foreign_purges"], 1)
        reading = eventually(lambda: (r := program.stat())["foreign"] < 40 * MIB and r, "the kernel says so too")
        self.assertGreater(reading["live"], 80 * MIB)
        self.assertRegex(neap("stat", program.pid).stdout, r"by others +1[5-9]\d MiB   that other allocators gave back in ")
        report = self.folder / "report.html"
        self.assertEqual(neap("report", program.pid, "-o", report).returncode, 0)
        self.assertIn("had other allocators give back", report.read_text())
        metrics = neap("export").stdout
        self.assertRegex(metrics, rf'neap_foreign_purged_bytes_total{{pid="{program.pid}",[^\n]*}} [1-9]')
        program.end()

    def test_a_library_that_its_opener_alone_sees(self):
        self.check_is_told(OTHER)

    @unittest.skipUnless(JEMALLOC.exists(), "libjemalloc2 is not installed")
    def test_jemalloc(self):
        # It keeps all that is freed, and needs more room for thread-local storage than is left for who comes late.
        self.check_is_told(JEMALLOC, MALLOC_CONF="dirty_decay_ms:-1,muzzy_decay_ms:-1",
                           GLIBC_TUNABLES="glibc.rtld.optional_static_tls=16384")

    def test_not_unless_the_user_chose_it(self):
        program = self.hoards(OTHER, {})
        eventually(lambda: program.stat()["level"] != "ample", "headroom is short")
        reading = eventually(lambda: (r := program.stat())["purges"] > 0 and r, "neap has given back its own")
        self.assertEqual((reading["foreign_purges"], reading["foreign_purged"]), (0, 0))
        self.assertGreater(reading["foreign"], 170 * MIB)
        program.end()

    def test_not_in_a_forked_child(self):
        program = self.program(NEAP, "run", "--limit", "300M", "--", environment={**os.environ, "NEAP_FOREIGN": "1"})
        program.tell("live 20")
        program.tell(f"load {OTHER}")
        child = int(program.tell("child hoard 200")[0].split()[1])
        program.tell("live 50")
        eventually(lambda: program.stat()["foreign_purges"] > 0, "the parent's own is told")
        status = pathlib.Path(f"/proc/{child}/status").read_text()
        self.assertGreater(int(re.search(r"RssAnon:\s*(\d+) kB", status).group(1)) << 10, 190 * MIB)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + ["-v"])
