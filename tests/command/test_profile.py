"""neap profile: estimates against what the program is known to hold, read by pprof, after a kill, of stripped programs
and of code that was made at run time."""
import json
import os
import pathlib
import re
import signal
import subprocess
import unittest

from support import DEADLINE, MIB, NEAP, CommandTest, eventually, neap

PROFILED = os.environ["NEAP_PROFILED"]
# What `go tool pprof` runs; Go from 1.25 on would build it first.
PPROF = next(map(str, pathlib.Path("/usr/lib").glob("go*/pkg/tool/*/pprof")), None)
LIVE = 400_000 // 16 * 208  # what Fragment leaves, in block sizes


def folded(text):
    """{innermost function first, as a tuple: bytes}"""
    found = {}
    for line in text.splitlines():
        stack, bytes_ = line.rsplit(" ", 1)
        found[tuple(reversed(stack.split(";")))] = int(bytes_)
    return found


def bytes_in(stacks, function):
    return sum(bytes_ for stack, bytes_ in stacks.items() if function in stack)


class ProfileTest(CommandTest):
    def start(self, *arguments, command=PROFILED):
        program = self.preloaded(command, *arguments, NEAP_PROFILE="16K")
        self.addCleanup(pathlib.Path(f"/tmp/perf-{program.pid}.map").unlink, missing_ok=True)
        return program

    def stacks(self, target, kind="live"):
        result = neap("profile", target, "--folded", kind)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return folded(result.stdout)

    def about(self, figure, expected, share=0.25):
        self.assertGreater(figure, expected * (1 - share))
        self.assertLess(figure, expected * (1 + share))

    def test_live_bytes_by_function(self):
        program = self.start()
        stacks = self.stacks(program.pid)
        self.about(bytes_in(stacks, "HoldLarge"), 32 * MIB)
        self.about(bytes_in(stacks, "Fragment"), LIVE)
        self.assertLess(bytes_in(stacks, "Churn"), MIB)
        innermost = max(stacks, key=stacks.get)
        self.assertEqual(innermost[:2], ("HoldLarge", "main"), "the library's own frames are left out")

    def test_allocated_bytes_by_function(self):
        program = self.start()
        stacks = self.stacks(program.pid, "allocated")
        self.about(bytes_in(stacks, "Churn"), 256 * MIB)
        self.about(bytes_in(stacks, "HoldLarge"), 32 * MIB)
        self.about(bytes_in(stacks, "Fragment"), 400_000 * 208)

    def test_fragmentation_is_what_the_ledger_calls_cached(self):
        program = self.start()

        def settled():
            ledger = program.stat()
            pinned = self.stacks(program.pid, "fragmentation")
            return ledger["dirty"] < MIB and pinned and (ledger, pinned)

        ledger, pinned = eventually(settled, "free pages have gone back and pins were counted")
        self.about(bytes_in(pinned, "Fragment"), ledger["cached"], 0.3)
        self.assertLess(bytes_in(pinned, "HoldLarge"), MIB)

    @unittest.skipUnless(os.uname().machine == "x86_64", "the code is x86-64's")
    def test_code_made_at_run_time_is_named_by_its_perf_map(self):
        program = self.start()
        stacks = self.stacks(program.pid)
        self.about(bytes_in(stacks, "jit_hold"), 16 * MIB)
        self.assertIn("main", next(stack for stack in stacks if "jit_hold" in stack), "unwound through it")

    def test_of_a_killed_process(self):
        program = self.start()
        program.process.send_signal(signal.SIGKILL)
        program.process.wait(DEADLINE)
        self.about(bytes_in(self.stacks(program.pid), "HoldLarge"), 32 * MIB)

    def test_of_a_stripped_program(self):
        stripped = self.folder / "stripped"
        subprocess.run(["strip", "-o", stripped, PROFILED], check=True)
        program = self.start(command=stripped)
        stacks = self.stacks(program.pid)
        by_module = sum(bytes_ for stack, bytes_ in stacks.items() if re.match(r"\[stripped\+0x", stack[0]))
        self.about(by_module, 32 * MIB + LIVE + 16 * MIB)

    def test_a_forked_child_has_a_profile_of_its_own(self):
        program = self.start("fork")
        child = int(program.line().split()[1])
        self.about(bytes_in(self.stacks(program.pid), "HoldLarge"), 32 * MIB)
        self.about(bytes_in(self.stacks(child), "HoldLarge"), 320 * MIB)

    def test_run_keeps_the_profile_beside_the_page(self):
        kept = self.folder / "kept"
        result = neap("run", "--profile", "--stats", kept, "--", PROFILED, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["kept", "kept.profile"])
        self.about(bytes_in(self.stacks(kept), "HoldLarge"), 32 * MIB)
        result = neap("run", "--stats", kept, "--", PROFILED, stdin=subprocess.DEVNULL)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["kept"], "an old one is no one's")

    def test_the_report_has_the_stacks_as_a_tree(self):
        path = self.folder / "report.html"
        # At the default rate what Fragment leaves would be ten samples.
        result = neap("run", "--report", path, "--", PROFILED, stdin=subprocess.DEVNULL, env=os.environ | {"NEAP_PROFILE": "16K"})
        self.assertEqual(result.returncode, 0, result.stderr)
        data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(),
                                    re.S)[1].replace("<\\/", "</"))

        def find(frame, name):
            found = [frame] if frame["name"] == name else []
            return found + [more for child in frame["children"] for more in find(child, name)]

        whole = data["profile"]["stacks"]
        self.about(whole["live"], data["ledger"]["live"])
        (main,) = find(whole, "main")
        self.assertGreaterEqual(main["live"], sum(child["live"] for child in main["children"]))
        self.about(find(main, "HoldLarge")[0]["live"], 32 * MIB)
        self.about(find(main, "Fragment")[0]["pinned"], data["ledger"]["cached"])

    def test_nothing_is_left_behind(self):
        program = self.start()
        page = program.page()
        profile = page.with_name(page.name + ".profile")
        self.assertTrue(profile.exists())
        program.end()
        self.assertFalse(page.exists() or profile.exists())

    @unittest.skipUnless(PPROF, "no pprof here")
    def test_pprof_reads_it(self):
        program = self.start()
        output = self.folder / "heap.pb"
        result = neap("profile", program.pid, "-o", output)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"heap\.pb: live \d+ MiB, pinned [\d.]+ \w*B, allocated \d+ MiB since the start")

        def pprof(*arguments):
            return subprocess.run([PPROF, *arguments, output], capture_output=True, text=True, check=True,
                                  timeout=DEADLINE, env={**os.environ, "HOME": str(self.folder)}).stdout

        top = pprof("-top", "-unit=MB", "-nodefraction=0")
        self.assertIn("Type: inuse_space", top)
        self.about(float(re.search(r"([\d.]+)MB +[\d.]+% +[\d.]+% +[\d.]+MB +[\d.]+%  HoldLarge$", top, re.M)[1]), 32)
        allocated = pprof("-top", "-unit=MB", "-sample_index=alloc_space", "-nodefraction=0")
        self.about(float(re.search(r"([\d.]+)MB +[\d.]+% +[\d.]+% +[\d.]+MB +[\d.]+%  Churn$", allocated, re.M)[1]), 256)
        for index in ("inuse_objects", "alloc_objects", "pinned_space"):
            self.assertIn(f"Type: {index}", pprof("-top", f"-sample_index={index}"))
        raw = pprof("-raw")
        build_id = re.search(r"Build ID: ([0-9a-f]{40})", subprocess.run(["readelf", "-n", PROFILED], capture_output=True,
                                                                        text=True, check=True).stdout)[1]
        self.assertRegex(raw, rf"{re.escape(PROFILED)} {build_id} \[FN\]")

    def test_a_process_that_runs_begins_when_it_is_told(self):
        program = self.preloaded()
        program.tell("live 100")
        eventually(lambda: neap("stat", program.pid).returncode == 0, "there is a page")
        result = neap("profile", program.pid, "--start")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout, f"{program.pid}: samples what it allocates from now on, about once in 512 KiB\n")

        def sampled():
            program.tell("live 50")
            return neap("profile", program.pid, "--folded", "live").returncode == 0

        eventually(sampled, "it samples")
        program.tell("live 400")
        stacks = self.stacks(program.pid)
        self.about(sum(stacks.values()), program.stat()["live"], 0.3)
        result = neap("profile", program.pid, "--start")
        self.assertEqual(result.returncode, 1)
        self.one_line(result.stderr, f"neap profile: {program.pid} has a profile already: ")
        self.assertEqual(neap("profile", self.folder / "page", "--start").returncode, 2)

    def test_without_a_profile(self):
        program = self.preloaded()
        program.tell("live 10")
        result = neap("profile", program.pid)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"^neap profile: \d+ has no profile: start it by 'neap profile PID --start'")
        self.assertEqual(neap("profile", self.folder / "nothing").returncode, 1)
        result = neap("profile", program.pid, "--folded", "dead")
        self.assertEqual(result.returncode, 2)


if __name__ == "__main__":
    unittest.main()
