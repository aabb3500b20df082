"""What goes with neap export: the alert rules and the dashboard ask for what it writes, in words that Prometheus
understands."""
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import unittest

from support import CommandTest, eventually, neap

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = HERE.parents[1] / "tools"
RULES = TOOLS / "prometheus/neap.rules.yml"
DASHBOARD = json.loads((TOOLS / "grafana/neap.json").read_text())
VARIABLES = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
PROMTOOL = shutil.which("promtool")


def promtool(*arguments):
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True)


def expressions():
    """Of the dashboard, with values for its variables."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m").replace("$command", ".*").replace("$pid", ".*")


@unittest.skipUnless(PROMTOOL, "no promtool")
class Rules(unittest.TestCase):
    def test_promtool_finds_no_fault(self):
        result = promtool("check", "rules", RULES)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_each_fires_when_it_should_and_only_then(self):
        cases = HERE / "alerts.yml"
        result = promtool("test", "rules", cases)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
        self.assertEqual(set(re.findall(r'ALERTS{alertname="(\w+)"', cases.read_text())), set(alerts))

    def test_each_says_what_it_is_and_what_to_do(self):
        for alert in RULES.read_text().split("- alert: ")[1:]:
            for part in ("expr", "severity", "summary", "description"):
                self.assertEqual(len(re.findall(rf"\b{part}: ", alert)), 1, (part, alert))


@unittest.skipUnless(PROMTOOL, "no promtool")
class Expressions(CommandTest):
    def parses(self, *texts):
        path = self.folder / "rules.yml"  # JSON is YAML
        rules = [{"record": f"rule{number}", "expr": text} for number, text in enumerate(texts)]
        path.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
        return promtool("check", "rules", path)

    def test_prometheus_understands_the_dashboard(self):
        result = self.parses(*expressions())
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertNotEqual(self.parses(next(expressions()) + ")").returncode, 0)

    def test_they_ask_for_what_is_written(self):
        program = self.preloaded()
        program.tell("live 50")
        program.tell("half")
        told = eventually(lambda: (text := neap("export").stdout).count(f'pid="{program.pid}",command="command_hold",arena')
                          and text, "its tables were read")
        metrics = set(re.findall(r"^# TYPE (\w+) ", told, re.M))
        labels = set(re.findall(r'[{,](\w+)="', told)) | {"job", "instance"}
        queries = [variable["definition"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
        text = "\n".join([RULES.read_text(), *expressions(), *queries])
        self.assertLessEqual(set(re.findall(r"\bneap_\w+", text)), metrics | {"neap_arena_reserve"})  # a function of neap.h
        legends = [target["legendFormat"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
        used = {*re.findall(r"{{(\w+)}}", " ".join(legends)), *re.findall(r'[{,](\w+)[=!]~?"', text),
                *re.findall(r"\$labels\.(\w+)", text)}
        for names in re.findall(r"\b(?:by|on) \((.*?)\)", text):
            used |= set(names.split(", "))
        self.assertLessEqual(used, labels)


class Dashboard(unittest.TestCase):
    def test_its_panels_stand_beside_each_other(self):
        places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
        for place in places:
            self.assertLessEqual(place["x"] + place["w"], 24)
        for one, other in itertools.combinations(places, 2):
            self.assertFalse(one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"] and
                             one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"], (one, other))
        numbers = [panel["id"] for panel in DASHBOARD["panels"]]
        self.assertEqual(len(set(numbers)), len(numbers))

    def test_its_variables_are_defined_and_used(self):
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
        self.assertEqual(used, VARIABLES)


if __name__ == "__main__":
    unittest.main()
