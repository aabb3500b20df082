"""neap report: the page of a process that runs, that was killed, and that neap run looked after; in a browser."""
import json
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from support import MIB, NEAP, SHARED_MEMORY, CommandTest, Program, eventually, neap, needs_limit

BROWSER = shutil.which("chromium")


def data_of(path):
    """What the report shows, as the page itself reads it."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S)[1])


class ReportTest(CommandTest):
    def report(self, target):
        path = self.folder / "report.html"
        result = neap("report", target, "-o", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        data = data_of(path)
        self.assertEqual(result.stdout.strip(), f"{path}: {data['headline']}")
        return data

    def check(self, data):
        """Everything that has to agree in any report."""
        ledger, samples = data["ledger"], data["samples"]
        self.assertEqual(sum(ledger[part] for part in ("live", "cached", "dirty", "metadata")), ledger["resident"])
        self.assertEqual({len(column) for column in samples.values()}, {len(samples["time_ms"])})
        self.assertEqual(samples["time_ms"], sorted(samples["time_ms"]))
        for i in range(len(samples["time_ms"])):
            parts = sum(samples[part][i] for part in ("live", "cached", "dirty", "metadata"))
            self.assertEqual(parts, samples["resident"][i])
        self.assertEqual(samples["live"][-1], ledger["live"])
        foreign = data["foreign"]["samples"]
        self.assertEqual({len(column) for column in foreign.values()}, {len(foreign["time_ms"])})
        self.assertEqual(foreign.keys() - {"time_ms"}, data["foreign"]["names"].keys())
        for row in data["size_classes"]:
            self.assertLessEqual(row["requested"], row["live"])
        self.assertEqual(data["arenas"][0]["name"], "root")


class Running(ReportTest):
    def test_tables_say_where_live_memory_is(self):
        program = self.preloaded()
        program.tell("live 200")
        program.tell("half")
        eventually(lambda: program.stat()["live"] < 130 * MIB, "half of it is gone")
        # The tables are read once a second, and only while the process has something to do.
        def told():
            program.tell("live 1")
            program.tell("half")
            data = self.report(program.pid)
            block = [row for row in data["size_classes"] if row["size"] == 64 << 10][0]
            return 90 * MIB < block["live"] < 120 * MIB and data
        data = eventually(told, "the class of the blocks holds what is live")
        self.check(data)
        block = [row for row in data["size_classes"] if row["size"] == 64 << 10][0]
        self.assertEqual(block["requested"], block["live"])  # exactly the size of the class
        self.assertGreater(data["arenas"][0]["live"], 0.9 * block["live"])

    def test_a_purge_is_an_event_with_its_cause(self):
        program = self.preloaded()
        program.tell("live 100")
        program.tell("half")
        eventually(lambda: neap("stat", program.pid).returncode == 0, "there is a page")
        self.assertEqual(neap("shrink", program.pid, "--to", "1G").returncode, 0)
        texts = [event["text"] for event in self.report(program.pid)["events"]]
        self.assertTrue([text for text in texts if text.endswith("neap shrink")], texts)


class Dead(ReportTest):
    def test_the_page_of_a_killed_process_is_found_by_its_pid(self):
        program = self.preloaded()
        program.tell("live 100")
        program.tell("half")
        eventually(lambda: neap("stat", program.pid).returncode == 0, "there is a page")
        page = program.page()
        self.addCleanup(lambda: page.unlink(missing_ok=True))
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait()
        data = self.report(program.pid)
        self.check(data)
        self.assertTrue(data["headline"].startswith("ended without a normal exit"), data["headline"])
        self.assertEqual(json.loads(neap("stat", program.pid, "--json").stdout)["live"], data["ledger"]["live"])
        result = neap("stat", program.pid, "--watch")
        self.assertEqual(result.returncode, 2)
        self.one_line(result.stderr, "neap stat: --watch needs a process that runs")

    @needs_limit
    def test_a_kill_by_foreign_memory_is_told_in_words(self):
        path = self.folder / "report.html"
        program = Program(NEAP, "run", "--limit", "256M", "--report", path, "--")
        self.addCleanup(lambda: program.process.communicate())
        program.tell("live 40")
        program.tell("half")
        eventually(lambda: program.stat()["foreign_parts"], "the growth has a reading before it")
        with self.assertRaises((AssertionError, BrokenPipeError)) as ended:
            for _ in range(100):  # the kernel's figures are read four times a second, or once
                program.tell("foreign 10")
                time.sleep(0.15)
        status, errors = program.end()
        errors += str(ended.exception)  # it may have read them
        self.assertEqual(status, 137, errors)
        data = data_of(path)
        self.check(data)
        self.assertIn("killed by the limit of 256 MiB", data["headline"])
        others = data["foreign"]["samples"]["other"]
        self.assertGreater(others[-1] - others[0], 50 * MIB)
        told = "foreign memory (other mappings) grew by "
        self.assertTrue([line for line in data["story"] if line.startswith(told)], data["story"])
        self.assertIn(told, errors)
        self.assertIn("less foreign memory (a smaller heap) or a higher limit would help", data["story"])

    def test_no_such_process_no_such_file(self):
        result = neap("report", 999999999)
        self.assertEqual(result.returncode, 3)
        self.one_line(result.stderr, "neap report: there is no process 999999999, and it left no page")
        result = neap("report", self.folder / "nothing")
        self.assertEqual(result.returncode, 3)
        self.one_line(result.stderr, "neap report: ")

    def test_where_it_cannot_be_written(self):
        page = self.folder / "page"
        program = self.program(NEAP, "run", "--stats", page, "--report", "/nowhere/at/all", "--")
        program.tell("live 50")
        program.tell("half")
        status, errors = program.end()
        self.assertEqual(status, 0)  # the command's own
        self.assertIn("neap run: cannot write /nowhere/at/all: ", errors)
        result = neap("report", page, "-o", "/nowhere/at/all")
        self.assertEqual(result.returncode, 3)
        self.one_line(result.stderr, "neap report: cannot write /nowhere/at/all: ")


@unittest.skipUnless(BROWSER, "no chromium")
class Browser(ReportTest):
    def test_it_is_drawn_without_an_error_and_without_a_network(self):
        program = self.preloaded(NEAP_PROFILE="64K")
        program.tell("live 100")
        program.tell("half")

        def read_twice():
            program.tell("foreign 1")
            program.tell("live 1")  # it is read while the process has something to do
            program.tell("half")
            return neap("stat", program.pid).returncode == 0 and len(self.report(program.pid)["foreign"]["samples"]["time_ms"]) > 1

        eventually(read_twice, "there are two readings of foreign memory")
        path = self.folder / "report.html"
        self.assertEqual(re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", path.read_text()), [])
        result = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={self.folder}/p",
             "--virtual-time-budget=3000", "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120)
        self.assertNotIn("CONSOLE", result.stderr)
        self.assertEqual(len(re.findall("<canvas", result.stdout)), 2 * 3, "three charts of two layers each")
        frames = re.search(r'<div class="flame" id="flame"[^>]*>(.*?)</div>', result.stdout, re.S)[1]
        self.assertIn(">Live</button>", frames)
        for table in ("ledger", "arenas", "classes", "readings"):
            body = re.search(rf'<table id="{table}">(.*?)</table>', result.stdout, re.S)[1]
            self.assertGreater(body.count("<tr>"), 1, table)


if __name__ == "__main__":
    unittest.main()
