"""neap export: metrics over HTTP and into a file, read by Prometheus's own parser and by a Prometheus that scrapes."""
import json
import re
import shutil
import signal
import socket
import subprocess
import unittest
import urllib.error
import urllib.request

from support import DEADLINE, MIB, NEAP, CommandTest, eventually, neap

PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")


def samples_of(text):
    """{(name, labels): figure} of the text format."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, figure = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line).groups()
            found[name, labels] = float(figure)
    return found


class ExportTest(CommandTest):
    def held(self):
        """A program that holds 100 MiB in every other of its blocks."""
        program = self.preloaded()
        program.tell("live 200")
        program.tell("half")
        eventually(lambda: 90 * MIB < program.stat()["live"] < 120 * MIB, "half of it is gone")
        return program

    def serve(self):
        server = subprocess.Popen([NEAP, "export", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)

        def stop():
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(DEADLINE), 0)
            server.stdout.close()

        self.addCleanup(stop)
        return server.stdout.readline().strip()

    def figure(self, text, program, name):
        labels = f'pid="{program.pid}",command="command_hold"'
        return samples_of(text)[name, labels]


class Text(ExportTest):
    def test_figures_are_those_of_the_page(self):
        program = self.held()
        eventually(lambda: program.stat()["released"] > 50 * MIB, "what was freed is given back")
        text = neap("export").stdout
        live, cached, dirty, metadata, resident = (
            self.figure(text, program, f"neap_{part}_bytes") for part in ("live", "cached", "dirty", "metadata", "resident"))
        self.assertEqual(live + cached + dirty + metadata, resident)
        self.assertTrue(90 * MIB < live < 120 * MIB)
        self.assertGreater(self.figure(text, program, "neap_released_bytes_total"), 50 * MIB)
        root = [figure for (name, labels), figure in samples_of(text).items()
                if name == "neap_arena_live_bytes" and f'pid="{program.pid}"' in labels and 'arena="root"' in labels]
        self.assertEqual(len(root), 1)

    def test_a_textfile_is_replaced_whole(self):
        program = self.held()
        path = self.folder / "neap.prom"
        path.write_text("old")
        self.assertEqual(neap("export", "--textfile", path).returncode, 0)
        self.assertGreater(self.figure(path.read_text(), program, "neap_live_bytes"), 90 * MIB)
        self.assertEqual([file.name for file in self.folder.iterdir()], ["neap.prom"])

    def test_bad_calls(self):
        for arguments, code in ((["--listen", "nonsense"], 2), (["--listen", "127.0.0.1:99999"], 2),
                                (["--textfile", "/nowhere/at/all"], 3),
                                (["--listen", "127.0.0.1:1", "--textfile", "x"], 2)):
            with self.subTest(arguments=arguments):
                result = neap("export", *arguments)
                self.assertEqual(result.returncode, code, result.stderr)
                self.one_line(result.stderr, "neap export: ")

    def test_an_address_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            result = neap("export", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        self.assertEqual(result.returncode, 3)
        self.one_line(result.stderr, "neap export: cannot listen on 127.0.0.1:")

    @unittest.skipUnless(PROMTOOL, "no promtool")
    def test_promtool_finds_no_fault(self):
        self.held()
        result = subprocess.run([PROMTOOL, "check", "metrics"], input=neap("export").stdout, capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))


class Served(ExportTest):
    def test_the_format_is_what_was_asked_for(self):
        self.held()
        address = self.serve()
        for accept, kind, end in (("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", True),
                                  ("text/plain", "text/plain", False)):
            request = urllib.request.Request(address, headers={"Accept": accept})
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                self.assertTrue(answer.headers["Content-Type"].startswith(kind))
                self.assertEqual(answer.read().decode().endswith("# EOF\n"), end)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address + "/nothing", timeout=DEADLINE)
        self.assertEqual(refused.exception.code, 404)
        refused.exception.close()

    @unittest.skipUnless(PROMETHEUS, "no prometheus")
    def test_prometheus_scrapes_it(self):
        program = self.held()
        target = self.serve().removeprefix("http://").removesuffix("/metrics")
        config = self.folder / "prometheus.yml"
        config.write_text(f"scrape_configs: [{{job_name: neap, scrape_interval: 1s, static_configs: [{{targets: ['{target}']}}]}}]\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen([PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={self.folder}/data",
                                   f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def stop():
            server.terminate()
            server.wait(DEADLINE)

        self.addCleanup(stop)

        def ask(query):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={query}", timeout=DEADLINE) as answer:
                    return json.load(answer)["data"]["result"]
            except (urllib.error.URLError, ConnectionError):
                return []

        self.assertEqual(eventually(lambda: ask("up"), "prometheus has scraped")[0]["value"][1], "1")
        [live] = eventually(lambda: ask(f"neap_live_bytes%7Bpid=%22{program.pid}%22%7D"), "the process is there")
        self.assertTrue(90 * MIB < float(live["value"][1]) < 120 * MIB)
        released = f"neap_released_bytes_total%7Bpid=%22{program.pid}%22%7D"
        eventually(lambda: float(ask(released)[0]["value"][1]) > 50 * MIB, "a counter rises")


if __name__ == "__main__":
    unittest.main()
