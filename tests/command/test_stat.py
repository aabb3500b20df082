"""neap stat: the ledger of a process seen from outside, and of one that was killed."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import unittest

from support import (MIB, NEAP, SHARED_MEMORY, CommandTest, eventually, library, limit_words, neap, needs_limit,
                     needs_root, start_time)

LEDGER = ("live", "cached", "dirty", "metadata")


class Reading(CommandTest):
    def check_equation(self, reading):
        self.assertEqual(sum(reading[word] for word in LEDGER), reading["resident"])
        if reading["anon"] != 0:
            self.assertEqual(reading["resident"] + reading["foreign"] + reading["residual"], reading["anon"])

    def test_live_follows_what_the_program_holds(self):
        program = self.preloaded()
        program.tell("live 200")
        reading = eventually(lambda: (r := program.stat())["live"] > 170 * MIB and r, "live memory is seen")
        self.assertLess(reading["live"], 240 * MIB)
        self.check_equation(reading)
        program.tell("half")
        reading = eventually(lambda: (r := program.stat())["live"] < 130 * MIB and r, "half of it is gone")
        self.check_equation(reading)
        self.assertGreater(reading["peak"]["live"], 170 * MIB)
        program.tell("drop")
        reading = eventually(lambda: (r := program.stat())["resident"] < 20 * MIB and r, "all of it is given back")
        self.check_equation(reading)
        self.assertGreater(reading["released"], 180 * MIB)

    def test_memory_that_neap_did_not_map_is_foreign(self):
        program = self.preloaded()
        program.tell("foreign 60")
        program.tell("live 150")
        program.tell("half")

        def agrees():
            reading = program.stat()
            self.check_equation(reading)
            return abs(reading["foreign"] - 60 * MIB) < 6 * MIB and abs(reading["anon"] - reading["anon_now"]) < 4 * MIB

        eventually(agrees, "foreign as it was mapped, anon as the kernel counts it")

    def test_live_blocks_that_were_never_written_are_told(self):
        program = self.preloaded()
        program.tell("blank 100")
        program.tell("foreign 30")
        program.tell("live 100")
        program.tell("half")

        def agrees():
            reading = program.stat()
            self.check_equation(reading)
            unwritten = -reading["residual"]
            return abs(unwritten - 50 * MIB) < 3 * MIB and abs(reading["foreign"] - 30 * MIB) < 3 * MIB and reading

        reading = eventually(agrees, "half of the blank blocks are live, and foreign memory is not short by them")
        self.assertGreater(reading["live"], 95 * MIB)
        self.assertRegex(neap("stat", program.pid).stdout,
                         r"\+ residual +-\d+(\.\d+)? MiB +pages of live blocks that were never written")

    def parts(self, program, agree, what):
        """A reading of what foreign memory is made of that agrees."""

        def read():
            result = neap("stat", program.pid, "--json")
            reading = json.loads(result.stdout or '{"foreign_parts": null}')  # no page yet
            parts = reading["foreign_parts"]
            return parts and agree(parts) and (reading, parts)

        return eventually(read, what)

    def test_foreign_memory_is_told_apart(self):
        program = self.preloaded()
        program.tell("threads 30")
        program.tell("foreign 60")
        program.tell("live 20")  # starts the thread that reads it
        program.tell("half")
        _, parts = self.parts(program, lambda parts: parts["other"] > 59 * MIB, "the mapping is seen")
        self.assertAlmostEqual(parts["stacks"] / MIB, 30, delta=2)
        self.assertAlmostEqual(parts["other"] / MIB, 60, delta=2)
        self.assertLess(parts["files"], 4 * MIB)
        self.assertGreaterEqual(parts["threads"], 31)
        self.assertEqual(parts["java_heap"] + parts["java_metaspace"], 0)

    @needs_limit  # under one the kernel's figures are read also when neap has nothing to do
    @unittest.skipUnless(shutil.which("java"), "no Java here")
    def test_a_jvms_heap_is_told_apart(self):
        source = self.folder / "Hold.java"
        source.write_text("""
            import java.nio.ByteBuffer;
            public class Hold {
              public static void main(String[] arguments) throws Exception {
                byte[][] heap = new byte[100][];
                for (int i = 0; i < heap.length; i++) java.util.Arrays.fill(heap[i] = new byte[1 << 20], (byte) 1);
                ByteBuffer[] direct = new ByteBuffer[50];
                for (int i = 0; i < direct.length; i++) {
                  direct[i] = ByteBuffer.allocateDirect(1 << 20);
                  for (int j = 0; j < 1 << 20; j += 512) direct[i].put(j, (byte) 1);
                }
                System.out.println("pid " + ProcessHandle.current().pid());
                System.in.read();
              }
            }""")
        for collector in ("G1", "Parallel", "Serial"):
            program = self.program(NEAP, "run", "--limit", "1G", "--", command=(
                "java", f"-XX:+Use{collector}GC", "-Xms200m", "-Xmx300m", source))
            reading, parts = self.parts(program, lambda parts: parts["java_heap"] > 100 * MIB, "the heap is seen")
            with self.subTest(collector=collector):
                self.assertLess(parts["java_heap"], 300 * MIB)
                self.assertGreater(reading["live"], 50 * MIB, "direct buffers are neap's")
                self.assertGreater(parts["code"], 0)
                self.assertGreater(parts["java_heap"], reading["foreign"] * 0.7)

    def test_the_kernels_figure_is_read_anew_also_when_neap_has_nothing_to_do(self):
        program = self.preloaded()
        program.tell("live 50")
        program.tell("half")
        eventually(lambda: neap("stat", program.pid).returncode == 0, "there is a page")
        eventually(lambda: program.stat()["anon_now"] < 40 * MIB, "half has gone back")
        before = program.stat()["anon_now"]
        program.tell("foreign 80")
        self.assertAlmostEqual((program.stat()["anon_now"] - before) / MIB, 80, delta=4)

    @needs_limit
    def test_the_ledger_of_a_cgroup(self):
        program = self.program(NEAP, "run", "--limit", "800M", "--")
        program.tell("foreign 60")
        program.tell("live 100")
        program.tell("half")
        eventually(lambda: program.stat()["released"] > 40 * MIB, "the freed half has gone back")
        program.tell("child foreign 40")  # it shares the rest with its parent
        other = subprocess.Popen(["sh", "-c", 'echo 0 > "$0/cgroup.procs"; exec sleep 60', program.stat()["cgroup"]])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)

        def read():
            ledger = json.loads(neap("stat", program.pid, "--cgroup", "--json").stdout)
            self.assertEqual(sum(ledger[word] for word in LEDGER), ledger["resident"])
            self.assertEqual(ledger["resident"] + ledger["foreign"] + ledger["others"] - ledger["twice"] + ledger["residual"],
                             ledger["anon"])
            self.assertEqual(sum(ledger[word] for word in ("anon", "shared", "files", "kernel", "rest")), ledger["used"])
            agrees = abs(ledger["residual"]) < 4 * MIB and abs(ledger["rest"]) < 4 * MIB
            return agrees and ledger["dirty"] < MIB and ledger["not_on_neap"] >= 1 and ledger

        # The kernel's figures are behind by a second or two.
        ledger = eventually(read, "what the processes have is what the kernel charges")
        self.assertEqual(ledger["limit"], 800 * MIB)
        self.assertGreaterEqual(ledger["on_neap"], 1)
        self.assertAlmostEqual(ledger["anon"] / MIB, 60 + 50 + 40, delta=10)
        self.assertGreater(ledger["twice"], 50 * MIB)
        words = neap("stat", ledger["folder"], "--cgroup").stdout
        self.assertRegex(words, r"= used +[\d.]+ MiB   charged to the cgroup")

    def test_bad_cgroups(self):
        for target, code in (("/nowhere", 3), ("999999999", 3), ("x", 2)):
            result = neap("stat", target, "--cgroup")
            self.assertEqual(result.returncode, code, result.stderr)
            self.one_line(result.stderr, "neap stat: ")

    def test_words_show_the_equation(self):
        program = self.preloaded()
        program.tell("live 100")
        program.tell("half")
        eventually(lambda: 45 * MIB < program.stat()["live"] < 60 * MIB, "half of it is gone")
        text = neap("stat", program.pid).stdout
        rows = [line.split()[:2] for line in text.splitlines()]
        for sign, word in (("+", "cached"), ("+", "dirty"), ("+", "metadata"), ("=", "resident")):
            self.assertIn([sign, word], rows, text)
        self.assertAlmostEqual(limit_words(text.replace("  ", " "))["peak"] / MIB, 100, delta=20)

    def test_a_forked_child_has_a_page_of_its_own(self):
        program = self.preloaded()
        program.tell("live 50")
        child = int(program.tell("child live 150")[0].split()[1])

        def both():
            mine, its = (json.loads(neap("stat", pid, "--json").stdout or "{}") for pid in (program.pid, child))
            return mine and its and mine["pid"] == program.pid and its["pid"] == child and its["live"] > 170 * MIB

        eventually(both, "the child's page shows what it inherited and took")
        self.assertLess(program.stat()["live"], 100 * MIB)

    def test_watching_goes_on_until_the_process_ends(self):
        program = self.preloaded()
        program.tell("live 60")
        program.tell("drop")
        eventually(lambda: neap("stat", program.pid).returncode == 0, "there is a page")
        watch = subprocess.Popen([NEAP, "stat", str(program.pid), "--watch", "--json"], stdout=subprocess.PIPE, text=True)
        readings = [json.loads(watch.stdout.readline()) for _ in range(2)]
        self.assertEqual({reading["pid"] for reading in readings}, {program.pid})
        program.end()
        watch.communicate(timeout=30)
        self.assertEqual(watch.returncode, 0)

    def test_a_process_in_a_container_is_found_by_its_pid_here(self):
        unshare = ("unshare", "--pid", "--mount", "--fork")
        if (probe := subprocess.run([*unshare, "true"], capture_output=True, text=True)).returncode != 0:
            self.skipTest(probe.stderr)
        # Process 1 of its own processes, with a /dev/shm of its own.
        program = self.program(*unshare, "sh", "-c", f'mount -t tmpfs none /dev/shm && LD_PRELOAD={library()} exec "$0"')
        parent = program.process.pid
        program.pid = int(pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text())
        program.tell("live 100")
        program.tell("half")
        reading = eventually(lambda: (r := program.stat())["live"] < 60 * MIB and r, "its page is found")
        self.assertEqual(reading["pid"], 1)
        self.assertFalse((SHARED_MEMORY / f"neap.1.{start_time(program.pid)}").exists())

    @needs_limit
    def test_the_limit_and_what_is_left_of_it(self):
        program = self.program(NEAP, "run", "--limit", "300M", "--")
        program.tell("live 100")
        program.tell("half")
        reading = eventually(lambda: (r := program.stat())["limit"] == 300 * MIB and r["live"] < 60 * MIB and r,
                             "the limit is seen")
        self.assertLess(reading["headroom"], 260 * MIB)
        self.assertGreater(reading["headroom"], 150 * MIB)
        self.assertIn("neap.", reading["cgroup"])
        program.end()


class LeftBehind(CommandTest):
    def test_a_killed_process_leaves_its_page(self):
        program = self.preloaded()
        program.tell("live 100")
        program.tell("half")
        page = program.page()
        eventually(lambda: page.exists() and 45 * MIB < program.stat()["live"] < 60 * MIB, "the page is written")
        self.addCleanup(page.unlink, missing_ok=True)
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait()
        left = json.loads(neap("stat", page, "--json").stdout)
        self.assertEqual(left["pid"], program.pid)
        self.assertGreater(left["peak"]["live"], 75 * MIB)
        self.assertFalse(left["exited"])
        self.assertTrue(page.exists())  # evidence is not swept away

    def test_a_normal_exit_leaves_none(self):
        program = self.preloaded()
        program.tell("live 100")
        program.tell("drop")
        page = program.page()
        eventually(page.exists, "there is a page")
        self.assertEqual(program.end()[0], 0)
        self.assertFalse(page.exists())

    def test_pages_of_the_dead_are_removed_after_a_day(self):
        program = self.preloaded()
        program.tell("live 100")
        program.tell("half")
        page = program.page()
        eventually(page.exists, "there is a page")
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait()
        old = SHARED_MEMORY / "neap.999999999.1"  # no such process: above any pid
        recent = SHARED_MEMORY / "neap.999999998.1"
        for path, age in ((old, 2 * 86400), (recent, 3600)):
            path.write_bytes(b"a page of another version")
            self.addCleanup(path.unlink, missing_ok=True)
            os.utime(path, times=(0, path.stat().st_mtime - age))
        self.addCleanup(page.unlink, missing_ok=True)
        neap("stat", os.getpid())
        self.assertEqual([path.exists() for path in (old, recent, page)], [False, True, True])


class Refusals(CommandTest):
    def check(self, code, words, *arguments, **options):
        result = neap("stat", *arguments, **options)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(words, self.one_line(result.stderr, "neap stat: "))
        self.assertEqual(result.stdout, "")

    def test_a_process_that_is_not_on_neap(self):
        self.check(1, "is not on neap: start it by 'neap run -- CMD'", os.getpid())

    def test_a_process_that_keeps_no_page(self):
        program = self.preloaded(NEAP_STATS="0")
        program.tell("live 50")
        program.tell("drop")
        self.check(1, "runs on neap but keeps no page", program.pid)

    def test_no_such_process(self):
        self.check(3, "there is no process 999999999", 999999999)

    def test_bad_calls(self):
        self.check(2, "PID is required")
        self.check(3, "not a page of statistics", self.folder, "--watch")
        self.check(2, "--nonsense", os.getpid(), "--nonsense")

    def test_files_that_are_no_pages(self):
        garbage = self.folder / "garbage"
        garbage.write_bytes(os.urandom(1 << 16))
        self.check(3, "not a page of statistics", garbage)
        garbage.write_bytes(b"NEAP")
        self.check(3, "not a page of statistics", garbage)
        page = self.folder / "page"
        program = self.program(NEAP, "run", "--stats", page, "--")
        program.tell("live 50")
        program.tell("half")
        program.end()
        garbage.write_bytes(page.read_bytes()[:5000])
        self.check(3, "too short", garbage)
        self.check(3, "No such file", self.folder / "missing")
        self.check(3, "not a page of statistics", self.folder)
        self.check(3, "not a page of statistics", "/dev/zero")

    def test_a_page_of_another_version_names_both(self):
        page = self.folder / "page"
        page.write_bytes((0x5041454e_000003e7).to_bytes(8, "little") + bytes(1 << 16))
        self.check(3, "its layout is version 999, this command reads version", page)

    @needs_root
    def test_a_process_of_another_user(self):
        program = self.preloaded()
        self.check(3, "run as its user or as root", program.pid, user="nobody")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + ["-v"])
