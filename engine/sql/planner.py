"""SQL to Substrait, by DataFusion. The engine runs this program beside itself.

Every line that comes in on standard input is a request, in JSON:
    {"tables": [CREATE TABLE ..., ...], "statements": [SQL, ...]}
For every statement one line goes out, and after the first form of it BYTES bytes, which are the plan; the second form is
the last of its request:
    plan BYTES MARKS ANTI... FRAME...
    error LINE
There is one ANTI for every anti join, in the order of DataFusion's own listing: 1 where it is that of NOT IN, 2 where it is
known, too, that the first of its equalities is the one of NOT IN. MARKS is in, exists or mixed: what mark joins come from;
or sets: there are none, and semi and anti joins are INTERSECT ALL and EXCEPT ALL. Where a frame of RANGE has an offset,
there is one FRAME for every window function, START,END: each is - or P (PRECEDING) or F (FOLLOWING) and a number, or
MONTHS:DAYS:NANOSECONDS. A Substrait plan of DataFusion's says none of this.
"""

import importlib
import importlib.util
import json
import re
import sys
import types

SEMI = re.compile(r"(Left|Right)(Semi|Anti) Join:")
BOUND = r"(.*?(?:PRECEDING|CURRENT ROW|FOLLOWING))"
FRAME = re.compile(rf"(?:ROWS|RANGE) BETWEEN {BOUND} AND {BOUND}")
OFFSET = re.compile(r"RANGE BETWEEN (?!(UNBOUNDED PRECEDING|CURRENT ROW) AND (CURRENT ROW|UNBOUNDED FOLLOWING))")
INTERVAL = re.compile(r"IntervalMonthDayNano \{ months: (-?\d+), days: (-?\d+), nanoseconds: (-?\d+) \}$")
CONFIG = {
    "datafusion.execution.time_zone": "+00:00",
    "datafusion.execution.target_partitions": "1",
    "datafusion.catalog.information_schema": "false",
}


def load_datafusion():
    """The compiled part alone: the package's own modules import pyarrow, which takes longer than planning does."""
    if "datafusion" in sys.modules:
        return sys.modules["datafusion._internal"]
    spec = importlib.util.find_spec("datafusion")
    package = types.ModuleType("datafusion")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["datafusion"] = package
    return importlib.import_module("datafusion._internal")


class Refused(Exception):
    pass


def without_text(sql):
    """The statement without comments, strings and quoted names."""
    return re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", " ", sql, flags=re.DOTALL)


def refuse_what_gets_lost(sql, lines):
    """Refuses what DataFusion plans wrongly or leaves out of a Substrait plan."""
    words = without_text(sql)
    if re.search(r"\b(IGNORE|RESPECT)\s+NULLS\b", words, re.IGNORECASE):
        raise Refused("IGNORE NULLS and RESPECT NULLS are not planned: leave them out or filter the NULLs before")
    for line in lines:
        if line.startswith("WindowAggr:"):
            if "FILTER (WHERE" in line:
                raise Refused("FILTER on a window function is not planned: use CASE WHEN ... END as its argument")
            if "(DISTINCT " in line:
                raise Refused("DISTINCT in a window function is not planned: number the equal rows first")


def frames_of(lines):
    """The FRAMEs of a plan's listing."""
    windows = [line for line in lines if line.startswith("WindowAggr: windowExpr=[[")]
    if not any(OFFSET.search(line) for line in windows):
        return []
    frames = []
    for line in windows:
        # Without what stands in brackets: arguments, keys, and the names of other window functions.
        calls, before = line.removeprefix("WindowAggr: windowExpr=[[").removesuffix("]]"), None
        while calls != before:
            calls, before = re.sub(r"\([^()\[\]]*\)|\[[^()\[\]]*\]", "", calls), calls
        for call in re.split(r", (?![^{}]*\})", calls):
            found = FRAME.search(call.partition(" AS ")[0])
            if not found:
                raise Refused("RANGE with an offset is not planned beside a text with brackets")
            frames.append(f"{bound_of(found[1])},{bound_of(found[2])}")
    return frames


def bound_of(text):
    offset, _, side = text.rpartition(" ")
    if text == "CURRENT ROW" or offset == "UNBOUNDED":
        return "-"
    interval = INTERVAL.match(offset)
    if not interval and not re.fullmatch(r"-?\d+(\.\d+)?", offset):
        raise Refused(f"a window frame of {text} is not planned: offsets are numbers or intervals")
    return side[0] + (":".join(interval.groups()) if interval else offset)


class Planner:
    def __init__(self, datafusion, tables):
        self.datafusion = datafusion
        config = self.datafusion.SessionConfig()
        for name, value in CONFIG.items():
            config = config.set(name, value)
        self.context = self.datafusion.SessionContext(config, None)
        for declaration in tables:
            self.context.sql_with_options(declaration)

    def plan(self, sql):
        options = self.datafusion.SQLOptions().with_allow_ddl(False).with_allow_dml(False)
        frame = self.context.sql_with_options(sql, options.with_allow_statements(False))
        optimized = frame.optimized_logical_plan()
        lines = [line.strip() for line in optimized.display_indent().splitlines()]
        refuse_what_gets_lost(sql, lines)
        notes = self.notes(without_text(sql), frame.logical_plan().display_indent(), lines)
        return self.datafusion.substrait.Producer.to_substrait_plan(optimized, self.context).encode(), notes

    @staticmethod
    def notes(words, written, lines):
        """MARKS and the ANTIs, of the statement, the plan as it was written and the lines of the optimized one."""
        has_in, has_exists = "IN (<subquery>)" in written, "EXISTS (<subquery>)" in written
        if re.search(r"\b(INTERSECT|EXCEPT)\s+ALL\b", words, re.IGNORECASE):
            # Without ALL they are the same joins over rows that are distinct, for which ALL makes no difference.
            joins = [sum(bool(SEMI.match(line.strip())) for line in plan) for plan in (written.splitlines(), lines)]
            if has_in or has_exists or re.search(r"\b(SEMI|ANTI)\s+JOIN\b", words, re.IGNORECASE) or joins[0] < joins[1]:
                raise Refused("INTERSECT ALL or EXCEPT ALL beside IN, EXISTS or a semi join is not planned: give it alone")
            return " ".join(["sets", *frames_of(lines)])
        marks = "mixed" if has_in == has_exists else "in" if has_in else "exists"
        # DataFusion takes some expressions for never NULL that can be NULL, and its joins for those of NOT EXISTS then.
        all_of_not_in = marks == "in" and "LeftAnti Join:" not in written
        antis = []
        for line in lines:
            if found := re.match(r"(?:Left|Right)Anti Join:(?: (.*?) = )?", line):
                of_not_in = all_of_not_in or line.endswith(" null_aware")
                is_first = re.search(rf"(?<![\w.]){re.escape(found[1] or '')} NOT IN \(<subquery>\)", written)
                antis.append("0" if not of_not_in else "2" if is_first else "1")
        return " ".join([marks, *antis, *frames_of(lines)])


def one_line(error):
    """DataFusion's message without the kind of its error, which says nothing to who wrote the statement."""
    text = " ".join(str(error).split())
    text = re.sub(r"^(DataFusion error: )?(Invalid \(non-executable\) plan after Analyzer caused by )?", "", text)
    text = re.sub(r"^((SQL|Schema|Optimizer|Substrait) error|Error during planning): ", "", text)
    found = re.match(r'^(?:ParserError|NotImplemented)\("(.*)"\)$', text)
    text = found.group(1).replace('\\"', '"') if found else text
    missing = re.match(r"^table '(?:datafusion\.public\.)?(.*)' not found$", text)
    if missing:
        return f"there is no table {missing.group(1)}: name its files with -t {missing.group(1)}=FILES"
    return text if len(text) <= 400 else text[:400] + " ..."


def main():
    planner, declared = None, None
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            if planner is None or request["tables"] != declared:
                planner, declared = Planner(load_datafusion(), request["tables"]), request["tables"]
            for sql in request["statements"]:
                plan, notes = planner.plan(sql)
                out.write(f"plan {len(plan)} {notes}\n".encode() + plan)
        except BaseException as error:  # a panic of DataFusion's is not an Exception
            out.write(f"error {one_line(error)}\n".encode())
        out.flush()


if __name__ == "__main__":
    main()
