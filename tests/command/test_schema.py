"""The published shapes (tools/schema) of what the command prints as JSON: real output holds to them, and they notice what
is missing or not published. Run by Debian's Python, which has its package jsonschema."""
import copy
import json
import os
import pathlib
import re
import signal
import subprocess
import unittest

import jsonschema
from support import MIB, NEAP, CommandTest, eventually, neap, needs_limit

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tools/schema"
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def validator(name):
    resolver = jsonschema.RefResolver(f"{FOLDER.as_uri()}/{name}.json", SCHEMAS[name])
    return jsonschema.Draft202012Validator(SCHEMAS[name], resolver=resolver)


def objects(value, path=()):
    """Paths of the objects in it, of a list's elements those of the first."""
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            yield from objects(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from objects(value[0], (*path, 0))


def at(value, path):
    for step in path:
        value = value[step]
    return value


def properties(schema):
    """(name, schema) of every property that a schema describes, at any depth."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from properties(inner)


class SchemaTest(CommandTest):
    def check(self, name, told):
        """It holds to the schema; with any field less, or one that is not published, it does not."""
        schema = validator(name)
        schema.validate(told)
        for path in objects(told):
            changed = copy.deepcopy(told)
            at(changed, path)["made_up"] = 1
            self.assertFalse(schema.is_valid(changed), (name, path))
            for field in at(told, path):
                changed = copy.deepcopy(told)
                del at(changed, path)[field]
                self.assertFalse(schema.is_valid(changed), (name, path, field))
        return told

    def held(self, *prefix):
        """A program that holds memory, keeps a page and has given back."""
        program = self.program(*prefix) if prefix else self.preloaded(NEAP_PROFILE="64K")
        program.tell("live 100")
        program.tell("half")
        eventually(lambda: neap("stat", program.pid).returncode == 0 and program.stat()["released"] > 0, "there is a page")
        return program


class Published(unittest.TestCase):
    def test_they_are_schemas(self):
        for schema in SCHEMAS.values():
            self.assertEqual(schema["$schema"], jsonschema.Draft202012Validator.META_SCHEMA["$id"])
            jsonschema.Draft202012Validator.check_schema(schema)

    def test_every_field_is_described(self):
        for name, schema in SCHEMAS.items():
            for field, described in properties(schema):
                text = described if "$ref" not in described or "description" in described else (
                    self.definition(schema, described["$ref"]))
                self.assertTrue(text.get("description", "").endswith("."), (name, field))

    def definition(self, schema, reference):
        return schema["$defs"][reference.removeprefix("#/$defs/")]


class Output(SchemaTest):
    def test_stat(self):
        self.check("stat", self.held().stat())

    def test_stat_of_a_page_that_was_left_behind(self):
        program = self.held()
        page = program.page()
        self.addCleanup(page.unlink, missing_ok=True)
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait()
        self.assertIsNone(self.check("stat", json.loads(neap("stat", page, "--json").stdout))["anon_now"])

    def test_stat_as_lines(self):
        program = self.held()
        watch = subprocess.Popen([NEAP, "stat", str(program.pid), "--watch", "--json"], stdout=subprocess.PIPE, text=True)
        first = watch.stdout.readline()
        program.end()
        for line in (first, *watch.communicate(timeout=30)[0].splitlines()):
            self.check("stat", json.loads(line))

    def test_run(self):
        for command in ("true", "exit 3", "kill -9 $$"):
            self.check("run", json.loads(neap("run", "--json", "--", "sh", "-c", command).stderr))

    @needs_limit
    def test_run_under_a_limit(self):
        program = self.held(NEAP, "run", "--json", "--limit", "300M", "--")
        self.assertIsNotNone(self.check("stat", program.stat())["limit"])
        self.assertIsNotNone(self.check("run", json.loads(program.end()[1]))["ledger"])
        program = self.program(NEAP, "run", "--json", "--limit", "128M", "--")
        program.send("grow")
        program.process.wait()
        self.assertTrue(self.check("run", json.loads(program.process.stderr.read()))["killed_by_limit"])

    def test_shrink(self):
        program = self.held()
        for size, under in (("1G", True), ("1M", False)):
            told = json.loads(neap("shrink", program.pid, "--to", size, "--json").stdout)
            self.assertEqual(self.check("shrink", told)["under"], under)

    def test_doctor(self):
        program = self.program()
        for target in ([], ["sh"], [str(program.pid)]):
            self.check("doctor", json.loads(neap("doctor", "--json", *target).stdout))

    def test_cgroup(self):
        program = self.held()
        self.check("cgroup", json.loads(neap("stat", program.pid, "--cgroup", "--json").stdout))

    def test_report(self):
        program = self.held()
        path = self.folder / "report.html"

        def tables():
            program.tell("live 1")
            program.tell("half")
            neap("report", program.pid, "-o", path)
            data = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S)[1]
            return (told := json.loads(data))["arenas"] and told["ledger"]["foreign_parts"] and told

        neap("shrink", program.pid, "--to", "1G")
        told = self.check("report", eventually(tables, "the tables and the parts of foreign memory were read"))
        self.assertTrue(told["events"])
        self.assertTrue(told["profile"]["stacks"]["children"])

    def test_sql(self):
        result = neap("sql", "--analyze", "--json", "SELECT 1; SELECT n, count(*) FROM (VALUES (1), (2)) AS t (n) GROUP BY n")
        if result.returncode == 127:
            self.skipTest("the engine is not built here")
        reports = [self.check("sql", json.loads(line)) for line in result.stdout.splitlines()]
        self.assertEqual(len(reports), 2, result.stderr)


if __name__ == "__main__":
    unittest.main()
