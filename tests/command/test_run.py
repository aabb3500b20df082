"""neap run: what it hands on, what it says, the limit, and the words after a kill."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

from support import (HOLD, MIB, NEAP, SHARED_MEMORY, CommandTest, eventually, library, limit_words, neap, needs_limit,
                     needs_root, own_cgroup, process_environment)


class Handing(CommandTest):
    def test_exit_status_is_the_commands(self):
        for code in (0, 1, 7, 125, 255):
            result = neap("run", "--", "sh", "-c", f"exit {code}")
            self.assertEqual(result.returncode, code, result.stderr)

    def test_output_and_input_are_the_commands(self):
        result = neap("run", "--", "cat", input="through\n")
        self.assertEqual(result.stdout, "through\n")
        self.one_line(result.stderr, "neap: exit 0 after ")

    def test_a_signal_that_ends_the_command_is_128_and_its_number(self):
        for number in (signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL):
            result = neap("run", "--", "sh", "-c", f"kill -{int(number)} $$")
            self.assertEqual(result.returncode, 128 + number, result.stderr)
            self.assertIn(f"ended by signal {int(number)} ", result.stderr)

    def test_a_kill_that_no_limit_did_is_not_blamed_on_one(self):
        result = neap("run", "--", "sh", "-c", "kill -9 $$")
        self.assertIn("killed, and not by a memory limit", result.stderr)

    def test_options_of_the_command_are_left_to_it(self):
        self.assertEqual(neap("run", "--", "echo", "--limit", "--", "-x").stdout, "--limit -- -x\n")
        self.assertEqual(neap("run", "--json", "echo", "--json", "--", "-x").stdout, "--json -- -x\n")

    def test_what_cannot_be_executed(self):
        missing = neap("run", "--", "/nowhere/command")
        self.assertEqual(missing.returncode, 127)
        self.one_line(missing.stderr, "neap run: cannot execute '/nowhere/command': ")
        self.assertEqual(neap("run", "--", "/etc/passwd").returncode, 126)

    def test_bad_calls_are_one_line_and_125(self):
        for arguments in ([], ["--limit"], ["--limit", "1X", "--", "true"], ["--limit", "0", "--", "true"],
                          ["--limit", "-1", "--", "true"], ["--limit", "1e3G", "--", "true"], ["--nonsense"],
                          ["--limit", "9999999T", "--", "true"], ["--stats", "/nowhere/at/all", "--", "true"]):
            result = neap("run", *arguments)
            self.assertEqual(result.returncode, 125, arguments)
            self.one_line(result.stderr, "neap run: ")
            self.assertEqual(result.stdout, "")

    def test_without_a_library_it_says_where_it_looked(self):
        result = neap("run", "--", "true", env={**os.environ, "NEAP_LIBRARY": "/nowhere/libneap.so"})
        self.assertEqual(result.returncode, 125)
        self.assertIn("NEAP_LIBRARY", self.one_line(result.stderr, "neap run: "))

    def test_preload_comes_after_what_was_there(self):
        environment = {**os.environ, "LD_PRELOAD": "libm.so.6"}
        seen = neap("run", "--", "sh", "-c", "echo $LD_PRELOAD", env=environment).stdout.strip()
        self.assertEqual(seen, f"libm.so.6:{library()}")
        self.assertIn("libneap.so", neap("run", "--", "cat", "/proc/self/maps").stdout)

    def test_another_allocator_that_comes_first_is_named(self):
        # A file of that name is enough: it is the order of the names that is looked at.
        other = self.folder / "libjemalloc.so.2"
        other.symlink_to(library())
        result = neap("run", "--", "true", env={**os.environ, "LD_PRELOAD": str(other)})
        self.assertIn(f"LD_PRELOAD already has {other}, which comes before neap", result.stderr)


class Signals(CommandTest):
    def test_each_signal_reaches_the_command_once(self):
        program = self.program(NEAP, "run", "--")
        program.tell("trap")
        for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "ALRM"):
            program.process.send_signal(getattr(signal, "SIG" + name))
            self.assertEqual(program.line(), f"signal {name}")
        self.assertEqual(program.tell("live 1"), [])  # none came twice
        self.assertEqual(program.end()[0], 0)

    def test_the_command_starts_with_our_signal_mask(self):
        mask = "grep SigBlk /proc/self/status"
        self.assertEqual(neap("run", "--", "sh", "-c", mask).stdout,
                         subprocess.run(["sh", "-c", mask], capture_output=True, text=True).stdout)

    def test_as_the_first_process_of_a_container_it_reaps_orphans(self):
        # The shell's child outlives it for a moment and is inherited by process 1, which is neap.
        script = "(sh -c 'sleep 0.1' &) ; sleep 0.5; grep -h State /proc/[0-9]*/status | grep -c Z || true"
        result = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", NEAP, "run", "--", "sh", "-c", script],
                                capture_output=True, text=True)
        if "unshare" in result.stderr:
            self.skipTest(result.stderr)
        self.assertEqual(result.stdout, "0\n", result.stderr)


class Line(CommandTest):
    def test_words_and_json_tell_the_same(self):
        program = self.program(NEAP, "run", "--json", "--")
        program.tell("live 200")
        eventually(lambda: program.stat()["live"] > 170 * MIB, "the page shows what is live")
        program.tell("drop")
        eventually(lambda: program.stat()["released"] > 150 * MIB, "the page shows what was given back")
        status, errors = program.end()
        told = json.loads(self.one_line(errors, "{"))
        self.assertEqual((status, told["exit_code"], told["signal"]), (0, 0, 0))
        self.assertGreater(told["peak"], 170 * MIB)
        self.assertLess(told["peak"], 300 * MIB)
        self.assertLess(told["ledger"]["live"], 50 * MIB)
        self.assertGreater(told["ledger"]["released"], 150 * MIB)
        self.assertFalse(told["killed_by_limit"])

    def test_nothing_is_left_in_shared_memory(self):
        before = {path.name for path in SHARED_MEMORY.glob("neap.*")}
        program = self.program(NEAP, "run", "--")
        prefix = pathlib.Path(process_environment(program.pid)["NEAP_STATS"])
        for _ in range(20):
            program.tell("child exit 0")
        program.tell("live 100")
        program.tell("child live 100")
        eventually(lambda: len(list(prefix.parent.iterdir())) >= 2, "the child keeps a page too")
        program.send("_exit 3")
        program.process.wait()
        self.assertFalse(prefix.parent.exists())
        pids = {str(pid) for pid in (program.pid, *program.children)}
        added = {path.name for path in SHARED_MEMORY.glob("neap.*")} - before
        self.assertEqual([name for name in added if name.split(".")[1] in pids], [])

    def test_pages_of_short_processes_do_not_pile_up(self):
        program = self.program(NEAP, "run", "--")
        folder = pathlib.Path(process_environment(program.pid)["NEAP_STATS"]).parent
        for _ in range(50):
            program.tell("child exit 0")
        eventually(lambda: len(list(folder.iterdir())) <= 1, "the pages of those that ended are taken in")
        program.end()

    def test_stats_are_kept_where_asked(self):
        page = self.folder / "page"
        program = self.program(NEAP, "run", "--stats", page, "--")
        program.tell("live 100")
        eventually(lambda: program.stat()["live"] > 75 * MIB, "the page shows what is live")
        program.end()
        self.assertEqual([path.name for path in self.folder.iterdir()], ["page"])
        kept = json.loads(neap("stat", page, "--json").stdout)
        self.assertEqual(kept["pid"], program.pid)
        self.assertGreater(kept["peak"]["live"], 75 * MIB)


@needs_limit
class Limit(CommandTest):
    def limit_file(self, folder):
        names = ("memory.limit_in_bytes", "memory.max")
        return next(folder / name for name in names if (folder / name).exists())

    def groups(self):
        _, folder = own_cgroup()
        return {path.name for path in folder.glob("neap.*")}

    def test_the_command_runs_in_a_cgroup_with_the_limit_that_is_removed(self):
        before = self.groups()
        program = self.program(NEAP, "run", "--limit", "200M", "--")
        version, _ = own_cgroup()
        line = next(line for line in pathlib.Path(f"/proc/{program.pid}/cgroup").read_text().splitlines()
                    if ("memory" in line.split(":")[1].split(",") if version == 1 else line.startswith("0::")))
        root = "/sys/fs/cgroup/memory" if version == 1 else "/sys/fs/cgroup"
        folder = pathlib.Path(root + line.split(":", 2)[2])
        self.assertEqual(int(self.limit_file(folder).read_text()), 200 * MIB)
        status, errors = program.end()
        self.assertEqual(status, 0)
        self.assertIn("limit 200 MiB: fits, ", errors)
        self.assertFalse(folder.exists())
        self.assertEqual(self.groups(), before)

    def test_sizes_are_powers_of_two(self):
        for text, size in (("67108864", 64 * MIB), ("64M", 64 * MIB), ("64MiB", 64 * MIB), ("0.0625G", 64 * MIB),
                           ("65536 k", 64 * MIB), ("64mb", 64 * MIB)):
            told = json.loads(neap("run", "--json", "--limit", text, "--", "true").stderr)
            self.assertEqual(told["limit"], size, text)

    def test_a_kill_for_live_memory_is_told_in_words(self):
        program = self.program(NEAP, "run", "--limit", "128M", "--")
        program.send("grow")
        self.assertEqual(program.process.wait(), 137)
        line = self.one_line(program.process.stderr.read(), "neap: killed by the limit of 128 MiB: at the last reading, ")
        self.assertRegex(line, r"live [\d.]+ [KM]iB, neap held [\d.]+ [KM]?i?B it could have given back, foreign memory ")
        self.assertIn("live memory or a higher limit", line)

    def test_a_kill_for_foreign_memory_is_told_from_one_for_live(self):
        program = self.program(NEAP, "run", "--limit", "160M", "--")
        program.tell("live 30")
        program.tell("foreign 90")
        eventually(lambda: program.stat()["foreign"] > 80 * MIB, "a reading with the foreign memory")
        program.send("foreign 200")
        self.assertEqual(program.process.wait(), 137)
        line = program.process.stderr.read()
        self.assertIn("less foreign memory", line)
        self.assertGreater(limit_words(line)["memory"], 80 * MIB)

    def test_a_kill_is_told_in_json(self):
        program = self.program(NEAP, "run", "--json", "--limit", "128M", "--")
        program.send("grow")
        self.assertEqual(program.process.wait(), 137)
        told = json.loads(program.process.stderr.read())
        self.assertTrue(told["killed_by_limit"])
        self.assertEqual((told["exit_code"], told["limit"]), (137, 128 * MIB))
        self.assertGreaterEqual(told["oom_kills"], 1)
        self.assertFalse(told["ledger"]["exited"])

    def test_a_part_that_was_killed_is_counted_where_the_command_goes_on(self):
        result = neap("run", "--limit", "128M", "--", "sh", "-c", f"echo grow | {HOLD}; exit 5")
        self.assertEqual(result.returncode, 5)
        self.assertIn("a memory limit killed 1 of its processes, and it went on without", result.stderr)

    def test_a_shell_that_hands_on_137_was_killed_as_well(self):
        result = neap("run", "--limit", "128M", "--", "sh", "-c", f"echo grow | {HOLD}")
        self.assertEqual(result.returncode, 137)
        self.assertIn("neap: killed by the limit of 128 MiB", result.stderr)

    def test_what_still_runs_is_counted_and_its_cgroup_removed_by_a_later_call(self):
        before = self.groups()
        result = neap("run", "--limit", "100M", "--", "sh", "-c", "sleep 1 >/dev/null 2>&1 &")
        self.assertIn("1 of its processes still run", result.stderr)
        eventually(lambda: (neap("run", "--limit", "100M", "--", "true"), self.groups() == before)[1],
                   "the cgroup is gone")

    @needs_root
    def test_where_no_cgroup_may_be_made_it_says_so_and_runs_without(self):
        result = neap("run", "--limit", "100M", "--", "sh", "-c", "exit 3", user="nobody")
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertRegex(result.stderr, r"neap run: no limit of 100 MiB here: .*; running without")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + ["-v"])
